// How query-migrate counts, where its figures and those read from the wire mean different things.
//
// Source: QEMU migration/ram.c, migration_bitmap_sync(), save_xbzrle_page(), flush_compressed_data(); migration/multifd.c,
// migration/migration.c, migration_completion(), postcopy_start(); measured against query-migrate in the recordings.
import type { CountingRule, Migration } from './results.js';

/** The differences that concern a migration, for the reader who has QEMU's figures beside ours. */
export function countingRules(
  migration: Pick<Migration, 'outcome' | 'rounds' | 'pages' | 'downtime' | 'postcopy' | 'returnPath'> & {
    readonly features: readonly string[];
  },
): CountingRule[] {
  const { outcome, rounds, pages, downtime, postcopy, returnPath } = migration;
  const features = new Set(migration.features);
  const rules: CountingRule[] = [];
  const add = (figure: CountingRule['figure'], text: string): void => void rules.push({ figure, text });
  if (rounds.length > 0) {
    const hidden = features.has('xbzrle')
      ? ' XBZRLE hides more of them: a page that did not change sends nothing, so that a whole pass may leave no trace.'
      : '';
    const since = postcopy ? 'RAM sections where post-copy is allowed' : 'finished passes, as many as rounds';
    add(
      'rounds',
      `QEMU's dirty-sync-count says how often the dirty log was read, usually once more than there are rounds (from 11.1 on: ${since}); a reading after which no page is sent again leaves no trace.${hidden}`,
    );
  }
  if (features.has('multifd-repeats'))
    add(
      'pages',
      'QEMU before 5.0 sends the last packet of a multifd channel again with each SYNC; those copies count neither in `normal` nor here.',
    );
  else if (features.has('multifd') && !features.has('multifd-flush') && pages.normal > 0)
    add(
      'pages',
      'multifd up to QEMU 7.2 may send the last page of a packet twice: up to 1 % more pages than `normal`.',
    );
  if (features.has('rounds-inferred'))
    add(
      'pages',
      'Estimated here, as if all bytes were those of full pages: zero pages are not counted, and where pages are compressed there were many more.',
    );
  if (features.has('rounds-inferred') && features.has('block'))
    add(
      'pages',
      'The disk in the same stream (section block) cannot be told from memory here: its bytes count as pages, and may look like rounds.',
    );
  if (features.has('xbzrle'))
    add('pages', '`normal` leaves XBZRLE pages out, as here; xbzrle-cache.pages also counts pages that sent nothing.');
  if (features.has('compress'))
    add('pages', 'With compression QEMU counts one stale page a thread at each flush: a little more than was sent.');
  if (postcopy && (returnPath['resume-ack'] ?? 0) > 0)
    add(
      'pages',
      '`normal` counts pages written into the connection that broke; they were sent again and count once here. A page asked for meanwhile may be asked for twice.',
    );
  if (downtime && postcopy)
    add(
      'downtime',
      "QEMU's downtime ends when the device state is handed to the socket; under 1 ms it runs to the end.",
    );
  else if (!downtime && outcome === 'completed')
    add('downtime', 'Not told here: what marks the switch-over, or what ends it, is not in the capture.');
  else if (downtime)
    add(
      'downtime',
      "QEMU's downtime begins before the guest's processors are asked to stop; on a busy host that takes time of which the wire shows nothing.",
    );
  if (downtime && !postcopy && !returnPath['shut'])
    add('downtime', "Without SHUT on the return path QEMU's downtime ends when the last byte is handed to the socket.");
  return rules;
}
