// All diagnosis rules. The order is fixed: the capture's quality first, then causes before the symptoms they explain.

import A1 from './R-A1.js';
import H1 from './R-H1.js';
import J1 from './R-J1.js';
import type { Rule } from './rule.js';

export const RULES: readonly Rule[] = [J1, H1, A1];
