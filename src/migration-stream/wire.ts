// Constants of the migration stream, each with where QEMU defines it. All integers on the wire are big-endian.

// QEMU migration/savevm.h
export const QEMU_VM_FILE_MAGIC = 0x5145564d;
export const QEMU_VM_FILE_VERSION = 3;
export const QEMU_VM_EOF = 0x00;
export const QEMU_VM_SECTION_START = 0x01;
export const QEMU_VM_SECTION_PART = 0x02;
export const QEMU_VM_SECTION_END = 0x03;
export const QEMU_VM_SECTION_FULL = 0x04;
export const QEMU_VM_SUBSECTION = 0x05;
export const QEMU_VM_VMDESCRIPTION = 0x06;
export const QEMU_VM_CONFIGURATION = 0x07;
export const QEMU_VM_COMMAND = 0x08;
export const QEMU_VM_SECTION_FOOTER = 0x7e;

// QEMU migration/ram.c, flags below the page address in every RAM word.
export const RAM_SAVE_FLAG_ZERO = 0x02;
export const RAM_SAVE_FLAG_MEM_SIZE = 0x04;
export const RAM_SAVE_FLAG_PAGE = 0x08;
export const RAM_SAVE_FLAG_EOS = 0x10;
export const RAM_SAVE_FLAG_CONTINUE = 0x20;
export const RAM_SAVE_FLAG_XBZRLE = 0x40;
export const RAM_SAVE_FLAG_HOOK = 0x80;
/** Up to 9.0. */
export const RAM_SAVE_FLAG_COMPRESS_PAGE = 0x100;
/** From 8.1. */
export const RAM_SAVE_FLAG_MULTIFD_FLUSH = 0x200;
/** All flags fit below the smallest target page. */
export const RAM_FLAGS_MASK = 0x3ff;
/** migration/xbzrle: first byte of an encoded page. */
export const ENCODING_FLAG_XBZRLE = 0x01;

/** QEMU migration/savevm.c, enum qemu_vm_cmd: name and fixed payload length, -1 where it varies. */
export const COMMANDS: readonly { readonly name: string; readonly length: number }[] = [
  { name: 'invalid', length: -1 },
  { name: 'open-return-path', length: 0 },
  { name: 'ping', length: 4 },
  { name: 'postcopy-advise', length: -1 },
  { name: 'postcopy-listen', length: 0 },
  { name: 'postcopy-run', length: 0 },
  { name: 'postcopy-ram-discard', length: -1 },
  { name: 'packaged', length: 4 },
  // 3.0 numbered RESUME 8 and RECV_BITMAP 9; 3.1 to 10.2 use 8 for ENABLE_COLO, which has no payload either.
  { name: 'enable-colo', length: 0 },
  { name: 'postcopy-resume', length: -1 },
  { name: 'recv-bitmap', length: -1 },
  { name: 'switchover-start', length: 0 },
];
export const CMD_PING = 2;
export const CMD_POSTCOPY_ADVISE = 3;
export const CMD_POSTCOPY_RUN = 5;
export const CMD_POSTCOPY_RAM_DISCARD = 6;
export const CMD_PACKAGED = 7;
export const CMD_ENABLE_COLO = 8;

/** QEMU migration/migration.c, enum mig_rp_message_type: name and fixed payload length, -1 where it varies. */
export const REPLIES: readonly { readonly name: string; readonly length: number }[] = [
  { name: 'invalid', length: -1 },
  { name: 'shut', length: 4 },
  { name: 'pong', length: 4 },
  { name: 'req-pages-id', length: -1 },
  { name: 'req-pages', length: 12 },
  { name: 'recv-bitmap', length: -1 },
  { name: 'resume-ack', length: 4 },
  { name: 'switchover-ack', length: 0 },
];
export const RP_REQ_PAGES_ID = 3;
export const RP_REQ_PAGES = 4;
export const RP_RECV_BITMAP = 5;
/** migration/migration.c, source_return_path_thread(): longest message the source accepts. */
export const RP_MESSAGE_BYTES = 512;

// migration/block.c, up to 9.0.
export const BLK_MIG_FLAG_DEVICE_BLOCK = 0x01;
export const BLK_MIG_FLAG_EOS = 0x02;
export const BLK_MIG_FLAG_PROGRESS = 0x04;
export const BLK_MIG_FLAG_ZERO_BLOCK = 0x08;
export const BLK_MIG_BLOCK_SIZE = 1 << 20;

// migration/block-dirty-bitmap.c
export const DIRTY_BITMAP_MIG_FLAG_EOS = 0x01;
export const DIRTY_BITMAP_MIG_FLAG_ZEROES = 0x02;
export const DIRTY_BITMAP_MIG_FLAG_BITMAP_NAME = 0x04;
export const DIRTY_BITMAP_MIG_FLAG_DEVICE_NAME = 0x08;
export const DIRTY_BITMAP_MIG_FLAG_START = 0x10;
export const DIRTY_BITMAP_MIG_FLAG_BITS = 0x40;
export const DIRTY_BITMAP_MIG_EXTRA_FLAGS = 0x80;

/** hw/vfio/migration.c: high word of every tag, and the low words. */
export const VFIO_TAG_HIGH = 0xffffffff;
export const VFIO_MIG_FLAG_END_OF_STATE = 0xef100001;
export const VFIO_MIG_FLAG_DEV_SETUP_STATE = 0xef100003;
export const VFIO_MIG_FLAG_DEV_DATA_STATE = 0xef100004;
export const VFIO_MIG_FLAG_DEV_INIT_DATA_SENT = 0xef100005;
export const VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY = 0xef100006;

/** migration/multifd.h; same value opens the hello and every packet. */
export const MULTIFD_MAGIC = 0x11223344;
export const MULTIFD_VERSION = 1;
/** MultiFDInit_t as of 4.0. */
export const MULTIFD_INIT_BYTES = 64;
/** MultiFDPacket_t up to its list of offsets. */
export const MULTIFD_HEADER_BYTES = 320;
/** MultiFDPacketDeviceState_t, from 10.0. */
export const MULTIFD_DEVICE_HEADER_BYTES = 276;
/** migration/options.c, multifd_ram_page_count(): guest memory in one packet at most. */
export const MULTIFD_PACKET_BYTES = 512 << 10;
/** Target pages: 2^10 bytes at least, 2^16 at most (TARGET_PAGE_BITS). */
export const LEAST_PAGE_BYTES = 1 << 10;
export const isPageSize = (bytes: number): boolean =>
  bytes >= LEAST_PAGE_BYTES && bytes <= 1 << 16 && Number.isInteger(Math.log2(bytes));
export const MULTIFD_FLAG_SYNC = 0x01;
export const MULTIFD_FLAG_DEVICE_STATE = 0x40;
export const MULTIFD_FLAGS_COMPRESSION = 0x3e;
export const MULTIFD_COMPRESSION: Readonly<Record<number, string>> = {
  2: 'zlib',
  4: 'zstd',
  8: 'qpl',
  16: 'uadk',
  32: 'qatzip',
};

// NBD, doc/proto.md of the nbd project. The server's greeting is the same for old and new style negotiation.
export const NBD_GREETING = 'NBDMAGIC';
/** "IHAVEOPT" in two words. */
export const NBD_OPTION_MAGIC = [0x49484156, 0x454f5054] as const;
export const NBD_OPT_EXPORT_NAME = 1;
export const NBD_OPT_STARTTLS = 5;
export const NBD_OPT_INFO = 6;
export const NBD_OPT_GO = 7;
export const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const NBD_CMD_READ = 0;
export const NBD_CMD_WRITE = 1;
export const NBD_CMD_WRITE_ZEROES = 6;
export const NBD_CMD_BLOCK_STATUS = 7;

// libvirt's RPC, src/rpc/virnetprotocol.x: every message begins with seven words.
export const LIBVIRT_HEADER_BYTES = 28;
export const LIBVIRT_PROGRAM = 0x20008086;
export const LIBVIRT_KEEPALIVE_PROGRAM = 0x6b656570;
/** VIR_NET_MESSAGE_MAX, since 1.0.6 or so 16 MiB, and the header's own length word. */
export const LIBVIRT_MESSAGE_BYTES = (16 << 20) + 4;
/** virNetMessageType VIR_NET_STREAM and virNetMessageStatus VIR_NET_CONTINUE. */
export const LIBVIRT_TYPE_STREAM = 3;
export const LIBVIRT_STATUS_CONTINUE = 2;
