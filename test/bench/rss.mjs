// Preloaded into a measured process: leaves its peak resident memory (KiB) in $MIGSCOPE_RSS_FILE.
import { readFileSync, writeFileSync } from 'node:fs';

// maxRSS of getrusage() begins with that of the process that forked this one.
const peak = () => /^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
process.on('exit', () => writeFileSync(process.env.MIGSCOPE_RSS_FILE, peak()));
