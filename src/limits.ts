// Every bound of the program: name, unit, default, and what lies beyond it. Each has a test that crosses it.

/** Rows in one packet batch. Beyond: the next batch. */
export const BATCH_ROWS = 4096;
/** Bytes in one packet batch. Beyond: the next batch; a single frame may not be larger. */
export const BATCH_BYTES = 4 << 20;
/** Captured bytes of one frame. Beyond: the record header is taken to be damaged and the reader resynchronises. */
export const FRAME_BYTES = 1 << 20;
/** Bytes of one pcapng block without frames. Beyond: its length is taken to be damaged and the reader resynchronises. */
export const PCAPNG_BLOCK_BYTES = 16 << 20;
/** Inputs that overlap in time and are merged at once. Beyond: refused. */
export const MERGED_INPUTS = 32;
/** Nested encapsulations peeled from one frame. Beyond: the frame is left as it is. */
export const TUNNEL_DEPTH = 8;
/** Bytes of headers in front of the innermost packet. Beyond: the frame is left as it is. */
export const TUNNEL_BYTES = 4096;
/** Distinct tunnel paths remembered. Beyond: new ones share the last id and are counted. */
export const TUNNEL_PATHS = 4096;
/** Interfaces of all inputs together; beyond: frames of further ones are attributed to the last. Also interfaces of one
 * pcapng section; beyond: their frames are left out and counted. */
export const INTERFACES = 4096;
/** Live connections; 5 KB each at least, 12 KB with data both ways. Beyond: the longest idle one is closed and counted. */
export const CONNECTIONS = 10_000;
/** Live flows without TCP; 0.5 to 3 KB each. Beyond: the quarter of them that was idle longest is forgotten, but none whose
 * byte streams are followed. */
export const UDP_FLOWS = 32_768;
/** Flows without TCP that have a timeline. Beyond: a flow takes it from one half its size. */
export const UDP_TIMELINES = 16;
/** Wire bytes from which a flow without TCP gets a timeline. Below: totals only. */
export const UDP_TIMELINE_BYTES = 64 << 10;
/** Pairs of byte streams inside reliable UDP transports that are followed. Beyond: their totals only. */
export const UDP_STREAMS = 256;
/** Datagrams of a flow in which its transport is looked for. Beyond: it stays plain UDP. */
export const UDP_RECOGNITION_DATAGRAMS = 64;
/** QUIC Initial packets opened of one connection, and of all together. Beyond: its handshake stays closed. */
export const QUIC_INITIALS = 16;
export const QUIC_INITIALS_TOTAL = 65_536;
/** Bytes of one QUIC handshake message, and of all that are not whole yet. Beyond: it is not read. */
export const QUIC_CRYPTO_BYTES = 16 << 10;
export const QUIC_CRYPTO_TOTAL_BYTES = 16 << 20;
/** Bytes waiting behind a hole, per direction. Beyond: the oldest hole is given up. */
export const REASSEMBLY_DIRECTION_BYTES = 16 << 20;
/** Bytes waiting behind holes in all directions together. Beyond: the oldest hole anywhere is given up. */
export const REASSEMBLY_TOTAL_BYTES = 64 << 20;
/** Segments waiting behind holes, per direction. Beyond: the oldest hole is given up. */
export const REASSEMBLY_SEGMENTS = 65_536;
/** Multipath TCP connections joined, and subflows of one. Beyond: subflows are streams of their own. */
export const MULTIPATH_CONNECTIONS = 256;
/** Data sequence mappings waiting for their bytes, per direction of a subflow. Beyond: bytes cannot be placed. */
export const MULTIPATH_MAPPINGS = 65_536;
/** Bytes a stream decoder may ask for at once. Beyond: desync. */
export const CURSOR_BYTES = 64 << 10;
/**
 * Bytes searched for a migration in a stream joined midway, of those that are missing one in 16. Beyond: nobody wants the
 * stream.
 */
export const RESYNC_SEARCH_BYTES = 4 << 20;
/** Proxies asked for one behind the other on one connection. Beyond: nobody wants the stream. */
export const PROXIES = 4;
/** Migrations of one capture in clear, as many TLS connections that may be some, and disks being copied. Beyond: nobody reads
 * the streams of further ones. */
export const MIGRATIONS = 1024;
/** Streams of one migration, either way: QEMU has 257 channels at most, a recovery brings new ones. Beyond: as above. */
export const MIGRATION_STREAMS = 1024;
/** Streams joined midway that are searched at the same time. Beyond: further ones are left alone. */
export const STREAM_SEARCHES = 256;
/** Transmitted ranges remembered per direction for classification. Beyond: neighbours merge and only times are lost. */
export const TRANSMITTED_SEGMENTS = 1 << 20;
/** Never-seen ranges per direction. Beyond: the closest two merge and the direction is marked approximate. */
export const SEQUENCE_HOLES = 4096;
/** Ranges in one direction's SACK scoreboard. Beyond: the closest two merge. */
export const SACKED_RANGES = 4096;
/** Buckets that the distributions of one TCP metric have between them, beyond 64 each; 4 bytes each. Beyond: buckets become
 * wider than 0.8 %, first those of connections with few samples, and it is said of how many. */
export const HISTOGRAM_BUCKETS = 1 << 19;
/** Bins of one timeline. Beyond: pairs merge and the bin width doubles. */
export const TIMELINE_BINS = 16_384;
/** Bins of the timelines of all directions together, 160 bytes each, where there are more than eight. Beyond: each may have
 * fewer, a power of two. */
export const TIMELINE_BINS_TOTAL = 1 << 16;
/** First bin width of a timeline, ns. */
export const TIMELINE_BIN_NS = 1_000_000;
/** Directions that get a timeline of their own. Beyond: totals only. */
export const TIMELINE_DIRECTIONS = 64;
/** Signals kept per kind. Beyond: counted only. */
export const SIGNAL_ROWS = 10_000;
/** Directions whose silences are kept, and the longest silences of one. Beyond: directions are counted only, shorter
 * silences give way. */
export const SILENT_DIRECTIONS = 4096;
export const SILENCES_PER_DIRECTION = 8;
/** Senders of echoes and heartbeats that are watched. Beyond: counted only. */
export const BEAT_DIRECTIONS = 1024;
/** Answers to connection attempts, and TLS greetings, kept as signals. Beyond: counted only. */
export const ANSWER_ROWS = 1000;
/** DNS queries waiting for their answer. Beyond: the older half is forgotten. */
export const DNS_QUERIES = 4096;
/** Rows of an event table. Beyond: counted only. */
export const EVENT_ROWS = 100_000;
/** Stretches of which single segments are kept, in all and of one direction. Beyond: the shortest disturbances go. */
export const CLOSE_UPS = 24;
export const CLOSE_UPS_PER_DIRECTION = 8;
/** Guest pages with exact history, all RAM blocks together (512 MiB of state at 4 bytes a page). Beyond: whole regions. */
export const PAGE_HISTORY_PAGES = 1 << 27;
/** RAM blocks of one migration. Beyond: the block list is taken to be damaged. */
export const RAM_BLOCKS = 4096;
/** Sections, devices, commands and messages kept one by one per migration. Beyond: counted only. */
export const STREAM_RECORDS = 65_536;
/** Bytes of a device description that are read as JSON. Beyond: its sizes are not compared. */
export const DESCRIPTION_BYTES = 8 << 20;
/** Pages of one RAM section that wait for its round to be known. Beyond: they count for the round that is open. */
export const SECTION_PAGES = 1 << 22;
/** Post-copy page requests that wait for their page. Beyond: their latency is not measured. */
export const PAGE_REQUESTS = 65_536;
/** Channels of one migration inside TLS: 255 multifd channels, main and preempt. Beyond: their records count for nothing. */
export const SEALED_CHANNELS = 257;
/** TLS records kept until it is known what protection adds to them. Beyond: only their bytes are known. */
export const SEALED_OPENINGS = 512;
/** Packet headers without pages kept of a multifd channel inside TLS, the newest. Beyond: earlier rounds are not told apart. */
export const SEALED_SYNCS = 4096;
/** Bulk transfers kept of one encrypted tunnel. Beyond: they are part of its totals only. */
export const OPAQUE_TRANSFERS = 16;
/** Bursts kept of one of them. Beyond: counted only. */
export const OPAQUE_BURSTS = 512;
/** Largest socket buffer believed in when looking back from the wire to the source (Linux, tcp_wmem). */
export const SEND_BUFFER_BYTES = 4 << 20;
/** Single page headers kept of a stream cut by the snap length. Beyond: not used for the estimate. */
export const SIGHTINGS = 65_536;
/** Rounds kept one by one. Beyond: the last one grows. */
export const ROUNDS = 100_000;
/** Sample locations kept per anomaly code and direction. Beyond: counted only. */
export const ANOMALY_SAMPLES = 5;
/** Distinct (code, direction) pairs in the anomaly log. Beyond: new directions share one entry. */
export const ANOMALY_KEYS = 2000;
/** Characters of a name taken from the wire. Beyond: cut. */
export const NAME_CHARACTERS = 256;
/** Kernel ring of a live capture, bytes. Beyond: the kernel drops frames and counts them. */
export const CAPTURE_RING_BYTES = 128 << 20;
/** Bytes that wait in the process that hosts `cap`. Beyond: frames are dropped and counted. */
export const CAP_QUEUE_BYTES = 128 << 20;
/** Frames remembered while a narrower capture takes over from a running one. Beyond: it does not take over. */
export const OVERLAP_FRAMES = 1 << 18;
/** Characters kept of what a capture program says on standard error. Beyond: the oldest are forgotten. */
export const ENGINE_TEXT_CHARACTERS = 4096;
/** Pages of one RDMA write or zero message. Beyond: the rest is left out and noted; QEMU merges up to a few MiB. */
export const RDMA_RANGE_PAGES = 1 << 14;
/** Pages of multifd channels that wait for a slower channel. Beyond: the channels are taken to be in step again. */
export const MULTIFD_WAITING_PAGES = 1 << 20;
/** TCP frames of one capture remembered for pairing it with another (40 bytes each). Beyond: counted, not paired. */
export const PAIRED_FRAMES = 1 << 22;
/** Marks between rounds that a multifd channel may be ahead of another. Beyond: the channels are taken to be in step again. */
export const MULTIFD_GENERATIONS = 4096;
/** Ranges of a mirrored disk that are remembered as copied. Beyond: neighbours become one, and what lies between counts as copied. */
export const DISK_RANGES = 4096;
