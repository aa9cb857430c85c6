// A bench input of any length on standard output, so that what does not fit on the disk can still be analysed:
//
//   node test/bench/generate.mjs offload 10 | migscope analyze -
import { INPUTS } from './inputs.mjs';

const [name = 'offload', scale = '1'] = process.argv.slice(2);
INPUTS[name]('/dev/stdout', Number(scale));
