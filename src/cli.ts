#!/usr/bin/env node
// The program `migscope`: hands the process's streams to the command line and ends with its exit code.
import { run } from './cli/program.js';
import { keepHeapSmall } from './heap.js';

keepHeapSmall();

// A reader that went away (`migscope … | head`) ends us quietly, as it ends other tools; a full disk does not.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    if (error.code === 'EIO') return; // the terminal was closed; files that were asked for are still to be written
    if (stream === process.stdout) process.stderr.write(`migscope: ${error.message}: standard output is incomplete.\n`);
    process.exit(1);
  });
}

process.exitCode = await run(process.argv.slice(2), {
  get stdin() {
    return process.stdin; // takes a while to make
  },
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  exitCode: 0,
});
