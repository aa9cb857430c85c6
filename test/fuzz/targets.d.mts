import type { ReportData } from '../../src/report/report.js';
import type { Program } from './cases.mjs';

export const TARGET_NAMES: readonly string[];
export function runTarget(
  name: string,
  bytes: Uint8Array,
  program: Program,
  options?: { readonly reports: readonly unknown[]; readonly page: boolean },
): Promise<void>;
export function conversationSteps(channel: number, side: 0 | 1, stream: Uint8Array, pieceBytes?: number): Buffer;
export function shortResult(report: ReportData): ReportData;
export function pathsOf(value: unknown): string[][];
