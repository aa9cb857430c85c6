#!/usr/bin/env node
// The program `migscope`: hands the process's streams to the command line and ends with its exit code.
import { run } from './cli/program.js';

// A reader that went away (`migscope … | head`) ends us quietly, as it ends other tools.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  exitCode: 0,
});
