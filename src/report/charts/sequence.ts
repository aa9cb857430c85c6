// Time-sequence graph after tcptrace: bytes sent, bytes acknowledged, the edge of the receive window, retransmissions.
//
// The vertical axis follows the stretch on display, so zooming in shows the slope of single bursts.
import type { Chart } from './chart.js';
import { axisUnit, frame, largest, timeAxis, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const sequence: Chart = {
  id: 'sequence',
  title: 'Time-sequence graph',
  question: 'Where did the stream stall, and what was sent again?',
  needs: ['timeline'],
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
    // The edge of the window may lie far above the data: it is drawn where it fits and does not stretch the axis.
    const visible = [{ filter: 'datum.t >= t0 - (t1 - t0) && datum.t <= t1 + (t1 - t0)' }];
    const y = {
      type: 'quantitative',
      stack: null,
      axis: valueAxis(unit),
      scale: { zero: false, nice: false, domain: [{ expr: 's0' }, { expr: 's1' }] },
    };
    const line = (field: string, name: Parameters<typeof colour>[0], width: number) => ({
      data: { name: 'timeline' },
      transform: visible,
      mark: { type: 'line', interpolate: 'step-after', clip: true, color: colour(name), strokeWidth: width },
      encoding: { x: timeAxis('t'), y: { ...y, field } },
    });
    const base = frame(200, window);
    return {
      unit: unit.unit,
      height: 200,
      left: 56,
      vegaLite: {
        ...base,
        params: [...base.params, { name: 's0', value: 0 }, { name: 's1', value: largest(data['timeline']?.['sent']) }],
        layer: [
          line('edge', 'window', 1),
          line('acked', 'dirty', 1.2),
          line('sent', 'goodput', 1.6),
          // Offsets of different channels do not share an axis.
          ...(data['events'] && carriers.length === 1
            ? [
                {
                  data: { name: 'events' },
                  transform: [{ filter: 'datum.lane == "resent" || datum.lane == "timeout"' }, ...visible],
                  mark: { type: 'point', shape: 'stroke', angle: 90, clip: true, size: 60, strokeWidth: 1.6 },
                  encoding: {
                    x: timeAxis('t'),
                    y: { ...y, field: 'offset' },
                    color: { value: colour('loss') },
                    tooltip: tip(),
                  },
                },
              ]
            : []),
        ],
      } as never,
    };
  },
};
