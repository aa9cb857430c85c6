// All diagnosis rules. The order is fixed: the capture's quality first, then causes before the symptoms they explain.

import A1 from './R-A1.js';
import A2 from './R-A2.js';
import A3 from './R-A3.js';
import A4 from './R-A4.js';
import A5 from './R-A5.js';
import A6 from './R-A6.js';
import A7 from './R-A7.js';
import A8 from './R-A8.js';
import B1 from './R-B1.js';
import B2 from './R-B2.js';
import B3 from './R-B3.js';
import B3b from './R-B3b.js';
import B4 from './R-B4.js';
import B5 from './R-B5.js';
import B5b from './R-B5b.js';
import B6 from './R-B6.js';
import B7 from './R-B7.js';
import B8 from './R-B8.js';
import B9 from './R-B9.js';
import B10 from './R-B10.js';
import B11 from './R-B11.js';
import B12 from './R-B12.js';
import C1 from './R-C1.js';
import C1b from './R-C1b.js';
import C2 from './R-C2.js';
import C3 from './R-C3.js';
import C4 from './R-C4.js';
import C5 from './R-C5.js';
import C6 from './R-C6.js';
import C7 from './R-C7.js';
import D1 from './R-D1.js';
import D2 from './R-D2.js';
import D3 from './R-D3.js';
import D4 from './R-D4.js';
import D5 from './R-D5.js';
import D6 from './R-D6.js';
import E1 from './R-E1.js';
import E2 from './R-E2.js';
import E3 from './R-E3.js';
import E4 from './R-E4.js';
import E5 from './R-E5.js';
import E6 from './R-E6.js';
import E7 from './R-E7.js';
import E8 from './R-E8.js';
import E9 from './R-E9.js';
import E10 from './R-E10.js';
import F1 from './R-F1.js';
import F2 from './R-F2.js';
import F3 from './R-F3.js';
import F4 from './R-F4.js';
import F5 from './R-F5.js';
import F6 from './R-F6.js';
import F7 from './R-F7.js';
import F8 from './R-F8.js';
import F9 from './R-F9.js';
import G1 from './R-G1.js';
import G2 from './R-G2.js';
import G3 from './R-G3.js';
import G4 from './R-G4.js';
import G5 from './R-G5.js';
import H1 from './R-H1.js';
import H2 from './R-H2.js';
import H3 from './R-H3.js';
import H4 from './R-H4.js';
import H5 from './R-H5.js';
import H6 from './R-H6.js';
import H7 from './R-H7.js';
import H8 from './R-H8.js';
import H9 from './R-H9.js';
import I1 from './R-I1.js';
import I2 from './R-I2.js';
import I3 from './R-I3.js';
import J1 from './R-J1.js';
import J2 from './R-J2.js';
import J3 from './R-J3.js';
import J4 from './R-J4.js';
import J5 from './R-J5.js';
import J6 from './R-J6.js';
import J7 from './R-J7.js';
import K1 from './R-K1.js';
import K2 from './R-K2.js';
import K3 from './R-K3.js';
import L1 from './R-L1.js';
import L2 from './R-L2.js';
import L3 from './R-L3.js';
import type { Rule } from './rule.js';

export const RULES: readonly Rule[] = [
  J1,
  J2,
  C6,
  J3,
  J4,
  J5,
  J6,
  J7,
  H1,
  H3,
  H4,
  H8,
  H9,
  B5,
  G1,
  H6,
  D5,
  H5,
  H2,
  A1,
  A2,
  A3,
  C5,
  B1,
  B12,
  B2,
  B3,
  B3b,
  C3,
  B4,
  B5b,
  B6,
  B7,
  B8,
  B10,
  B9,
  B11,
  C2,
  C4,
  C7,
  C1,
  C1b,
  D1,
  D2,
  D3,
  D4,
  D6,
  A7,
  A8,
  A5,
  I2,
  I1,
  E1,
  E2,
  E3,
  E9,
  E7,
  E8,
  E4,
  E5,
  E6,
  E10,
  H7,
  F1,
  F2,
  F3,
  F4,
  F5,
  F6,
  F8,
  F7,
  F9,
  G2,
  G4,
  G3,
  G5,
  A4,
  A6,
  I3,
  L1,
  L2,
  L3,
  K3,
  K2,
  K1,
];
