// Time-sequence graph after tcptrace: bytes sent, bytes acknowledged, the edge of the receive window, retransmissions.
//
// The vertical axis follows the stretch on display, so zooming in shows the slope of single bursts. Where the result has
// single segments, a window on such a stretch (the viewer sets the parameter 'stretch') shows them instead of the time line.
import type { Chart } from './chart.js';
import { isAcknowledgement, isRetransmission } from './close-ups.js';
import { axisUnit, frame, largest, timeAxis, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

const SEGMENT_TIP = `'frame ' + datum.frame + ': ' + (datum.high - datum.low) + ' bytes' + (${isRetransmission} ? ', sent again' : '')`;

export const sequence: Chart = {
  id: 'sequence',
  title: 'Time-sequence graph',
  question: 'Where did the stream stall, and what was sent again?',
  needs: ['timeline'],
  steering: ['stretches'],
  axis: 'time',
  absent: 'No timeline: too little data was sent in either direction.',
  legend: [
    { label: 'sent', colour: 'goodput', mark: 'line', reads: { column: 'sent', unit: 'bytes' } },
    { label: 'acknowledged', colour: 'dirty', mark: 'line', reads: { column: 'acked', unit: 'bytes' } },
    { label: 'edge of the receive window', colour: 'window', mark: 'line' },
    { label: 'retransmitted', colour: 'loss', mark: 'tick' },
  ],
  spec({ data, window, carriers }) {
    if (carriers.length === 0) return null; // only TCP has sequence numbers to show
    const unit = axisUnit(largest(data['timeline']?.['sent']), 'B');
    const y = {
      type: 'quantitative',
      stack: null,
      // Zoomed in, neighbouring ticks differ by less than the unit of the whole run shows.
      axis: valueAxis(unit, {
        labelExpr: `s1 - s0 < ${unit.divisor / 100} ? format(datum.value / 1000, ',.1~f') + ' kB' : format(datum.value / ${unit.divisor}, '~g')`,
      }),
      scale: { zero: false, nice: false, domain: [{ expr: 's0' }, { expr: 's1' }] },
    };
    // The edge of the window may lie far above the data: it is drawn where it fits and does not stretch the axis.
    const visible = [{ filter: 'stretch < 0 && datum.t >= t0 - (t1 - t0) && datum.t <= t1 + (t1 - t0)' }];
    const chosen = (what: string) => [{ filter: `datum.stretch === stretch && ${what}` }];
    const line = (
      name: string,
      transform: readonly unknown[],
      field: string,
      color: Parameters<typeof colour>[0],
      strokeWidth: number,
    ) => ({
      data: { name },
      transform,
      mark: { type: 'line', interpolate: 'step-after', clip: true, color: colour(color), strokeWidth },
      encoding: { x: timeAxis('t'), y: { ...y, field } },
    });
    const segments = (what: string) => ({
      data: { name: 'segments' },
      transform: [...chosen(what), { calculate: SEGMENT_TIP, as: 'tip' }],
      mark: { type: 'rule', clip: true, color: colour('goodput'), strokeWidth: 1.8, strokeCap: 'round' },
      encoding: { x: timeAxis('t'), y: { ...y, field: 'low' }, y2: { field: 'high' }, tooltip: tip() },
    });
    // A single segment may be less than a pixel high: what was sent again is marked at any scale.
    const stroke = (name: string, transform: readonly unknown[], field: string) => ({
      data: { name },
      transform,
      mark: { type: 'point', shape: 'stroke', angle: 90, clip: true, size: 60, strokeWidth: 1.6 },
      encoding: { x: timeAxis('t'), y: { ...y, field }, color: { value: colour('loss') }, tooltip: tip() },
    });
    const base = frame(240, window);
    return {
      unit: unit.unit,
      height: 240,
      left: 56,
      vegaLite: {
        ...base,
        params: [
          ...base.params,
          { name: 's0', value: 0 },
          { name: 's1', value: largest(data['timeline']?.['sent']) },
          { name: 'stretch', value: -1 },
        ],
        layer: [
          line('timeline', visible, 'edge', 'window', 1),
          line('timeline', visible, 'acked', 'dirty', 1.2),
          line('timeline', visible, 'sent', 'goodput', 1.6),
          // Offsets of different channels do not share an axis.
          ...(data['events'] && carriers.length === 1
            ? [
                stroke(
                  'events',
                  [{ filter: 'datum.lane == "resent" || datum.lane == "timeout"' }, ...visible],
                  'offset',
                ),
              ]
            : []),
          ...(data['segments']
            ? [
                line('segments', chosen(`${isAcknowledgement} && isValid(datum.high)`), 'high', 'window', 1),
                line('segments', chosen(isAcknowledgement), 'low', 'dirty', 1.2),
                segments(`!(${isAcknowledgement})`),
                stroke('segments', [...chosen(isRetransmission), { calculate: SEGMENT_TIP, as: 'tip' }], 'low'),
              ]
            : []),
        ],
      } as never,
    };
  },
};
