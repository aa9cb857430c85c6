export const HOSTILE_NAMES: readonly string[];
export class Trouble {
  constructor(seed: number);
  below(limit: number): number;
  pick<T>(items: readonly T[]): T;
  strikes(weight?: number): boolean;
  chance(share: number): boolean;
}
