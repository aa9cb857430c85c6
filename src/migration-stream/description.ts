// The description (VMDESCRIPTION) at the end of a pre-copy stream: JSON with the size of every device's state.
//
// The text comes from the wire: sizes may be absurd, nesting deep, keys missing. Whatever does not fit the form makes
// the whole description unusable; nothing here throws.
// Source: QEMU migration/savevm.c, vmstate_save(); migration/vmstate.c, vmstate_save_state_v().
import type { DescribedDevice } from './records.js';
import { isPageSize } from './wire.js';

/** Devices listed. Subsections nest a few levels deep. */
const NESTING = 64;

/**
 * Reads the description.
 *
 * @param text  UTF-8 JSON
 * @returns     page size where stated and the length of each device's body in bytes, as far as QEMU measured it; null
 *              when it is not of the form
 */
export function describedDevices(text: Uint8Array): { pageSize: number | null; devices: DescribedDevice[] } | null {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder().decode(text));
  } catch {
    return null; // reported by the caller, with the place
  }
  if (!isObject(root) || !Array.isArray(root['devices'])) return null;
  const devices: DescribedDevice[] = [];
  for (const device of root['devices'] as unknown[]) {
    if (!isObject(device)) return null;
    const { name, instance_id: instance } = device;
    const bytes = stateBytes(device, 0);
    if (typeof name !== 'string' || typeof instance !== 'number' || bytes === null) return null;
    if (!Number.isNaN(bytes)) devices.push({ name, instance, bytes });
  }
  const pageSize = root['page_size'];
  return { pageSize: typeof pageSize === 'number' && isPageSize(pageSize) ? pageSize : null, devices };
}

/** Fields, each measured as it was written, and subsections with their own header (type, name, version); NaN if unknown. */
function stateBytes(state: Record<string, unknown>, depth: number): number | null {
  if (depth > NESTING) return null;
  let total = 0;
  for (const field of list(state['fields'])) {
    if (!isObject(field)) return null;
    const { size, array_len: count = 1 } = field;
    if (!isCount(size) || !isCount(count)) return null;
    total += isPointers(field) ? Number.NaN : size * count;
  }
  for (const subsection of list(state['subsections'])) {
    if (!isObject(subsection)) return null;
    const { vmsd_name: name } = subsection;
    const bytes = stateBytes(subsection, depth + 1);
    if (typeof name !== 'string' || bytes === null) return null;
    total += 1 + 1 + name.length + 4 + bytes;
  }
  return Number.isSafeInteger(total) || Number.isNaN(total) ? total : null;
}

/** Up to 9.2 an array of pointers whose first is NULL is described as if all were: one byte each, a structure of nothing. */
function isPointers({ array_len: count, size, struct }: Record<string, unknown>): boolean {
  return count !== undefined && size === 1 && isObject(struct) && Object.keys(struct).length === 0;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
