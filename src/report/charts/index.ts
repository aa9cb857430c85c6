// All charts in the order of the page. The order is fixed here; nothing registers itself.
import { channels } from './channels.js';
import type { Chart } from './chart.js';
import { heatMap } from './heat-map.js';
import { ladder } from './ladder.js';
import { limitsBand } from './limits-band.js';
import { losses } from './losses.js';
import { overview } from './overview.js';
import { pageKinds } from './page-kinds.js';
import { rate } from './rate.js';
import { remaining } from './remaining.js';
import { requests, requestWaits } from './requests.js';
import { roundsBand } from './rounds-band.js';
import { rtt } from './rtt.js';
import { sequence } from './sequence.js';
import { switchover } from './switchover.js';
import { windowChart } from './window.js';

export const CHARTS: readonly Chart[] = [
  overview,
  ladder,
  roundsBand,
  rate,
  limitsBand,
  windowChart,
  rtt,
  losses,
  remaining,
  requests,
  channels,
  sequence,
  switchover,
  requestWaits,
  pageKinds,
  heatMap,
];
