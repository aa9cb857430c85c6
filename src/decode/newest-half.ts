/**
 * The younger half of a map, by the time of insertion; for tables that are full.
 *
 * Deleting the oldest entry for each new one would do the same with less forgotten, but V8 leaves deleted entries in their
 * places until it rehashes, and walks past all of them to find the oldest: 30 µs an entry in a map of 65 536.
 */
export const newestHalf = <K, V>(map: ReadonlyMap<K, V>): Map<K, V> => new Map(Array.from(map).slice(map.size >> 1));
