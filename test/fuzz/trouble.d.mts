export const HOSTILE_NAMES: readonly string[];
export class Trouble {
  constructor(seed: number);
  strikes(weight?: number): boolean;
  chance(share: number): boolean;
}
