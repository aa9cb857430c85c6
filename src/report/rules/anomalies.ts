// Anomalies as proof: which were noted about a set of connections, and at which frames.
import type { Anomaly, AnomalyCode } from '../../anomaly.js';
import type { ReportData } from '../report.js';
import type { Interval } from './transfer.js';

/** Anomalies of the given codes; with `connections`, only those about them or about no connection in particular. */
export const anomaliesOf = (
  report: ReportData,
  codes: readonly AnomalyCode[],
  connections?: readonly number[],
): readonly Anomaly[] =>
  report.anomalies.filter(
    (anomaly) =>
      codes.includes(anomaly.code) &&
      (connections === undefined || anomaly.direction === null || connections.includes(anomaly.direction >> 1)),
  );

export const countOf = (anomalies: readonly Anomaly[]): number =>
  anomalies.reduce((total, anomaly) => total + anomaly.count, 0);

/** Frame numbers at which they were noted. */
export const framesOf = (anomalies: readonly Anomaly[]): number[] =>
  anomalies
    .flatMap((anomaly) => [anomaly.first, ...anomaly.samples, anomaly.last])
    .flatMap((location) => (location.frame === undefined ? [] : [location.frame]));

/** The whole capture, as proof for what concerns all of it. */
export const wholeCapture = (report: ReportData): Interval[] => [[0, report.capture.durationNs]];
