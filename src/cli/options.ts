// Options that several commands share, with their parsers and checks.
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { WantedStretch } from '../decode/tcp/stretch.js';
import { RULES } from '../report/rules/index.js';

/** Where results go. */
export interface OutputOptions {
  readonly json?: string;
  readonly html?: string;
  readonly csv?: string;
  readonly arrow?: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
  readonly redact?: boolean;
}

/** What the analysis should look at and how to judge it. */
export interface AnalysisOptions {
  readonly port?: number;
  readonly connection?: number;
  readonly whatIf?: WhatIf;
  readonly threshold?: ChosenThresholds;
  readonly strict?: boolean;
}

/** Values by rule id and threshold name, instead of the rules' own. */
export type ChosenThresholds = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A different world to predict: bytes per second and ns. */
export interface WhatIf {
  readonly bandwidth?: number;
  readonly downtime?: number;
}

export const addOutputOptions = (command: Command): Command =>
  command
    .option('--json <file>', 'write the whole result as JSON; - for standard output')
    .option('--html <file>', 'write one self-contained page to open in a browser; - for standard output')
    .option('--csv <dir>', 'write every table as CSV, with a schema, into a folder')
    .option('--arrow <dir>', 'write every table as an Arrow file, with a schema, into a folder')
    .option('-f, --force', 'replace existing output files')
    .option('-q, --quiet', 'no summary and no progress, only what was asked for')
    .option('--redact', 'replace addresses and names in every output');

export const addAnalysisOptions = (command: Command): Command =>
  addJudgementOptions(command)
    .option('--port <number>', 'take the connections to this server port as the migration', parsePort)
    .option('--connection <id>', 'take this connection (see the JSON result) as the migration', parseCount)
    .option('--strict', 'exit with 3 when the capture or the stream is damaged');

/** How results are judged; a saved one can be judged again. */
export const addJudgementOptions = (command: Command): Command =>
  command
    .option(
      '--what-if <list>',
      'also predict for bandwidth=RATE,downtime=TIME (e.g. bandwidth=10Gbit,downtime=300ms)',
      parseWhatIf,
    )
    .option(
      '--threshold <rule.name=value>',
      'judge with another threshold (see explain), e.g. R-A2.intendedRate=125e6; may be repeated',
      parseThreshold,
    );

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535)
    throw new InvalidArgumentError('Expected a port from 1 to 65535.');
  return port;
}

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

/** '12.5..13' or '12.5..13:4': seconds, and a connection. */
export function parseStretch(text: string): WantedStretch {
  const [, from, to, connection] = /^(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)(?::(\d{1,9}))?$/.exec(text.trim()) ?? [];
  const [fromNs, toNs] = [Number(from) * 1e9, Number(to) * 1e9];
  if (!(toNs > fromNs)) throw new InvalidArgumentError('Expected FROM..TO in seconds, e.g. 12.5..13 or 12.5..13:4.');
  return { fromNs, toNs, connection: connection === undefined ? null : Number(connection) };
}

/** 'R-A2.intendedRate=125e6' added to those chosen `before`. */
export function parseThreshold(text: string, before: ChosenThresholds = {}): ChosenThresholds {
  const [, id = '', name = '', value = ''] = /^([^.=]+)\.([^=]+)=(.+)$/.exec(text.trim()) ?? [];
  const rule = RULES.find((candidate) => candidate.id.toLowerCase() === id.toLowerCase());
  if (!rule) throw new InvalidArgumentError('Expected RULE.NAME=VALUE, e.g. R-A2.intendedRate=125e6.');
  const names = Object.keys(rule.thresholds);
  if (!names.includes(name)) {
    throw new InvalidArgumentError(`${rule.id} has ${names.length > 0 ? names.join(', ') : 'no thresholds'}.`);
  }
  const number = Number(value);
  if (!Number.isFinite(number)) throw new InvalidArgumentError(`Expected a number, found "${value}".`);
  return { ...before, [rule.id]: { ...before[rule.id], [name]: number } };
}

const BIT_RATES: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const BYTE_RATES: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};
const TIMES_NS: Readonly<Record<string, number>> = { us: 1e3, ms: 1e6, s: 1e9 };

/** '10Gbit', '32MiB' (per second) → bytes per second; '300ms' → ns. */
function parseWhatIf(text: string): WhatIf {
  const result: { bandwidth?: number; downtime?: number } = {};
  for (const part of text.split(',')) {
    const match = /^(bandwidth|downtime)=(\d+(?:\.\d+)?)([a-z]+)(?:\/s)?$/i.exec(part.trim());
    const amount = Number(match?.[2]);
    const unit = match?.[3]?.toLowerCase() ?? '';
    if (match?.[1] === 'bandwidth' && unit in BIT_RATES) result.bandwidth = (amount * BIT_RATES[unit]!) / 8;
    else if (match?.[1] === 'bandwidth' && unit in BYTE_RATES) result.bandwidth = amount * BYTE_RATES[unit]!;
    else if (match?.[1] === 'downtime' && unit in TIMES_NS) result.downtime = amount * TIMES_NS[unit]!;
    else throw new InvalidArgumentError(`Expected bandwidth=10Gbit or downtime=300ms, found "${part}".`);
    if (!(amount > 0)) throw new InvalidArgumentError(`"${part}" must be above zero.`);
  }
  return result;
}
