// What an exit code means: --help and the manual page say the same.

export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'input or output cannot be used'],
  [2, 'wrong call'],
  [3, 'anomalies found under --strict'],
  [70, 'defect in migscope'],
];
