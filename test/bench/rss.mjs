// Preloaded into a measured process: leaves its peak resident memory (KiB) in $MIGSCOPE_RSS_FILE.
import { writeFileSync } from 'node:fs';

process.on('exit', () => writeFileSync(process.env.MIGSCOPE_RSS_FILE, String(process.resourceUsage().maxRSS)));
