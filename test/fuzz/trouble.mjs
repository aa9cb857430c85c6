// Seeded decisions of a fuzz case: which field becomes which unlikely value.
//
// Builders ask for every field they write, so a mutation knows the field's size and meaning and the rest stays valid.

/** Names that would do harm if anything printed or embedded them as they are. */
export const HOSTILE_NAMES = [
  '</script><img src=x onerror=alert(1)>',
  '"><svg/onload=alert(1)>',
  "'-alert(1)-'",
  '\u001b[2J\u001b]0;owned\u0007',
  '../../../../tmp/owned',
  '__proto__',
  'constructor',
  '=cmd|calc!A1',
  '\u0000\u0001\u007f\u0080\u009b31m',
  '\u202egnp.exe',
  'x'.repeat(255),
  '',
];

/** How often a field is spoiled; one is drawn for each case, so that most cases stay mostly valid. */
const RATES = [0, 0.0002, 0.001, 0.005, 0.03];

export class Trouble {
  #state;
  #rate;

  constructor(seed) {
    this.seed = seed;
    this.#state = seed >>> 0;
    this.#rate = this.pick(RATES);
  }

  /** Uniform in [0, 1); mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  below(limit) {
    return Math.floor(this.next() * limit);
  }

  pick(items) {
    return items[this.below(items.length)];
  }

  chance(share) {
    return this.next() < share;
  }

  bytes(length) {
    return Buffer.from(Uint8Array.from({ length }, () => this.below(256)));
  }

  /** Is this field (or piece, or frame) to be spoiled? */
  strikes(weight = 1) {
    return this.next() < this.#rate * weight;
  }

  /** Another value for a field of `bits` bits. */
  value(value, bits) {
    const top = 2 ** bits;
    const wrapped = (n) => ((n % top) + top) % top;
    switch (this.below(9)) {
      case 0:
        return 0;
      case 1:
        return bits > 53 ? 2 ** 63 : top - 1;
      case 2:
        return top / 2;
      case 3:
        return wrapped(value + 1);
      case 4:
        return wrapped(value - 1);
      case 5:
        return wrapped(value * 2);
      case 6:
        return this.below(Math.min(top, 0x1_0000));
      case 7:
        return bits > 32 ? 2 ** (32 + this.below(31)) : Math.floor(value / 2);
      default: {
        const bit = 2 ** this.below(bits);
        return wrapped(Math.floor(value / bit) % 2 ? value - bit : value + bit);
      }
    }
  }

  /** `value`, or something else when the field is struck. */
  number(value, bits, weight = 1) {
    return this.strikes(weight) ? this.value(value, bits) : value;
  }

  /** A name, sometimes a harmful one. */
  name(name) {
    return this.strikes(30) ? this.pick(HOSTILE_NAMES) : name;
  }
}
