// `migscope interfaces`: what can be captured here, and with what.
import type { Command } from 'commander';
import { ENGINES } from '../capture/live/engines.js';
import { type InterfaceFacts, listInterfaces } from '../capture/live/interfaces.js';
import { bitRate, count } from '../report/format.js';
import { addHelp } from './help.js';
import type { CliIo } from './io.js';
import { print } from './output.js';

const EXAMPLES = `
Examples:
  migscope interfaces
  migscope live -i eth0                      capture on one of them
  ip netns exec blue migscope interfaces     those of a network namespace`;

export function registerInterfaces(program: Command, io: CliIo): void {
  const command = program
    .command('interfaces')
    .summary('list the interfaces that live can capture on')
    .description('Lists the network interfaces of this host with their state, and the programs found for capturing.');
  addHelp(command, EXAMPLES).action(() => print(io.stdout, `${interfaceTable(listInterfaces())}\n${engineLines()}`));
}

/** One line an interface, columns aligned. */
function interfaceTable(interfaces: readonly InterfaceFacts[]): string {
  const rows = [
    ['interface', 'state', 'speed', 'MTU', 'frames', 'addresses'],
    ...interfaces.map((facts) => [
      facts.name,
      facts.state ?? '–',
      bitRate(facts.speedMbit === null ? null : (facts.speedMbit * 1e6) / 8),
      facts.mtuBytes === null ? '–' : String(facts.mtuBytes),
      count(facts.frames),
      facts.addresses.join(' '),
    ]),
    ...(process.platform === 'linux' ? [['any', '', '', '', '', 'all of them together']] : []),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function engineLines(): string {
  return ENGINES.map((engine) => {
    const file = engine.locate();
    const where =
      engine.name === 'cap' ? 'library, in a process of its own' : (file ?? `not installed (${engine.packageName})`);
    return `${engine.name.padEnd(9)}${where}: ${engine.accuracy}\n`;
  }).join('');
}
