// Migration streams in every mode, written field by field through a Trouble, so that any of them may lie.
//
// Layouts: QEMU migration/savevm.c (sections, commands, description), migration/ram.c (pages), migration/multifd.c
// (hello, packets of 5.2 … 11.x), migration/migration.c (return path).

const PAGE = 4096;
const RAM_ID = 2;
const FLAG = { zero: 0x02, memSize: 0x04, page: 0x08, eos: 0x10, continue: 0x20, xbzrle: 0x40, compress: 0x100 };
const FLUSH = 0x200;

/** Bytes of one stream under construction. */
class Stream {
  #pieces = [];
  length = 0;

  constructor(trouble) {
    this.trouble = trouble;
  }

  raw(bytes) {
    this.#pieces.push(bytes);
    this.length += bytes.length;
    return this;
  }

  #number(value, bytes) {
    let left = BigInt(this.trouble.number(value, bytes * 8));
    const out = Buffer.alloc(bytes);
    for (let at = bytes - 1; at >= 0; at--, left >>= 8n) out[at] = Number(left & 255n);
    return this.raw(out);
  }

  u8(value) {
    return this.#number(value, 1);
  }

  u16(value) {
    return this.#number(value, 2);
  }

  u32(value) {
    return this.#number(value, 4);
  }

  u64(value) {
    return this.#number(value, 8);
  }

  text(name) {
    const bytes = Buffer.from(this.trouble.name(name), 'latin1').subarray(0, 255);
    return this.u8(bytes.length).raw(bytes);
  }

  /** A part that may be left out, doubled, cut or followed by rubbish. */
  part(write) {
    const { trouble } = this;
    const inner = new Stream(trouble);
    write(inner);
    const bytes = inner.build();
    if (!trouble.strikes(2)) return this.raw(bytes);
    return this.raw(
      trouble.pick([
        Buffer.alloc(0),
        Buffer.concat([bytes, bytes]),
        bytes.subarray(0, trouble.below(bytes.length + 1)),
        Buffer.concat([bytes, trouble.bytes(1 + trouble.below(64))]),
      ]),
    );
  }

  build() {
    return Buffer.concat(this.#pieces);
  }
}

const footer = (s, id) => s.u8(0x7e).u32(id);
const closeRam = (s) => footer(s.u64(FLAG.eos), RAM_ID);

function configuration(s, machine) {
  s.raw(Buffer.from('QEVM')).u32(3);
  const name = Buffer.from(s.trouble.name(machine), 'latin1');
  s.u8(7).u32(name.length).raw(name);
}

function ramStart(s, blocks, postcopy) {
  s.u8(1).u32(RAM_ID).text('ram').u32(0).u32(4);
  s.u64(blocks.reduce((sum, block) => sum + block.pages * PAGE, 0) + FLAG.memSize);
  for (const block of blocks) {
    s.text(block.name).u64(block.pages * PAGE);
    if (postcopy && block.name !== 'pc.ram') s.u64(PAGE);
  }
  closeRam(s);
}

/** Pages of one round as PART sections. */
function round(s, blocks, density, mode) {
  const { trouble } = s;
  let last = null;
  for (const block of blocks) {
    for (let first = 0; first < block.pages; first += 16) {
      s.part((p) => {
        p.u8(2).u32(RAM_ID);
        for (let page = first; page < Math.min(block.pages, first + 16); page++) {
          if (!trouble.chance(density)) continue;
          const kind = trouble.pick(mode);
          p.u64(page * PAGE + FLAG[kind] + (last === block ? FLAG.continue : 0));
          if (last !== block) p.text(block.name);
          last = block;
          if (kind === 'zero') p.u8(0);
          else if (kind === 'page') p.raw(Buffer.alloc(PAGE, page));
          else if (kind === 'xbzrle') p.u8(1).u16(40).raw(Buffer.alloc(40, 3));
          else p.u32(80).raw(Buffer.alloc(80, 0x78));
        }
        closeRam(p);
      });
    }
  }
}

const DEVICES = ['timer', 'cpu_common', 'cpu', 'apic', 'pckbd', '0000:00:02.0/vga', 'slirp', '0000:00:03.0/virtio-net'];

function devices(s, first) {
  DEVICES.forEach((name, i) => {
    s.part((p) => {
      p.u8(4)
        .u32(first + i)
        .text(name)
        .u32(0)
        .u32(1 + i)
        .raw(Buffer.alloc(8 + 37 * i, i));
      footer(p, first + i);
    });
  });
}

function description(s) {
  const { trouble } = s;
  const fields = [{ name: trouble.name('state'), type: 'uint8', size: trouble.number(8, 32, 5) }];
  const list = DEVICES.map((name, i) => ({
    name: trouble.name(name),
    instance_id: 0,
    vmsd_name: trouble.name(name),
    version: 1,
    fields: trouble.strikes(5) ? trouble.value(1, 32) : [{ ...fields[0], size: 8 + 37 * i }],
    subsections: trouble.strikes(5) ? [{ vmsd_name: trouble.name('sub'), fields }] : undefined,
  }));
  let json = JSON.stringify({ page_size: trouble.number(PAGE, 32, 5), devices: list });
  if (trouble.strikes(5))
    json = trouble.pick(['{', '[]', 'null', '{"devices":7}', json.slice(0, -3), '['.repeat(20_000)]);
  const bytes = Buffer.from(json, 'latin1');
  s.u8(6).u32(bytes.length).raw(bytes);
}

const command = (s, number, payload) => s.u8(8).u16(number).u16(payload.length).raw(payload);

function be(value, bytes) {
  const out = Buffer.alloc(bytes);
  out.writeUIntBE(value, 0, bytes);
  return out;
}

/** OPEN_RETURN_PATH, ping, advise, discard, PACKAGED(listen, devices, run): the switch to post-copy. */
function switchToPostcopy(s) {
  command(s, 3, Buffer.concat([be(0, 4), be(PAGE, 4), be(0, 4), be(PAGE, 4)])); // POSTCOPY_ADVISE
  const discard = Buffer.concat([
    be(0, 1),
    be(6, 1),
    Buffer.from('pc.ram\0'),
    be(0, 4),
    be(0, 4),
    be(0, 4),
    be(8 * PAGE, 4),
  ]);
  command(s, 6, discard);
  const inner = new Stream(s.trouble);
  command(inner, 4, Buffer.alloc(0));
  devices(inner, 20);
  command(inner, 5, Buffer.alloc(0));
  const packed = inner.build();
  s.part((p) => {
    p.u8(8).u16(7).u16(4).u32(packed.length).raw(packed);
  });
}

const MULTIFD_MAGIC = 0x11223344;

function multifdHello(s, id) {
  s.u32(MULTIFD_MAGIC).u32(1).raw(Buffer.alloc(16, 7)).u8(id).raw(Buffer.alloc(39));
}

/** The packet grew zero pages in 9.0 and keeps its size: 64 bytes, the block's name, then addresses. */
function multifdPacket(s, number, block, firstPage, pages, zeros, packedBytes) {
  const normal = pages - zeros;
  const data = packedBytes ?? normal * PAGE;
  s.u32(MULTIFD_MAGIC)
    .u32(1)
    .u32(packedBytes === null ? 0 : 2)
    .u32(128)
    .u32(normal)
    .u32(data);
  s.u64(number).u32(zeros).u32(0).u64(0).u64(0).u64(0);
  const name = Buffer.alloc(256);
  name.write(s.trouble.name(block.name), 'latin1');
  s.raw(name);
  for (let i = 0; i < 128; i++) s.u64(i < pages ? (firstPage + i) * PAGE : 0);
  s.raw(Buffer.alloc(data, 0x55));
}

function multifdSync(s, number) {
  s.u32(MULTIFD_MAGIC).u32(1).u32(1).u32(128).u32(0).u32(0).u64(number).u32(0).u32(0).u64(0).u64(0).u64(0);
  s.raw(Buffer.alloc(256 + 128 * 8));
}

/** What the destination sends back. */
function returnPath(trouble, postcopy) {
  const s = new Stream(trouble);
  const message = (type, payload) => s.part((p) => p.u16(type).u16(payload.length).raw(payload));
  message(2, be(1, 4)); // PONG
  if (postcopy) {
    message(2, be(3, 4));
    for (let i = 0; i < 6; i++) {
      const where = Buffer.concat([be(0, 4), be((i * 5 * PAGE) >>> 0, 4), be(PAGE, 4)]);
      const name = Buffer.from(trouble.name('pc.ram'), 'latin1').subarray(0, 255);
      if (i % 3)
        message(4, where); // MIG_RP_MSG_REQ_PAGES, then REQ_PAGES_ID
      else message(3, Buffer.concat([where, be(name.length, 1), name]));
    }
  }
  message(1, be(0, 4)); // SHUT
  return s.build();
}

const MODES = {
  precopy: ['page', 'page', 'zero'],
  xbzrle: ['page', 'xbzrle', 'zero'],
  compress: ['compress', 'zero'],
  postcopy: ['page', 'zero'],
  preempt: ['page'],
  multifd: ['zero'],
  'multifd-zlib': ['zero'],
  tls: ['page'],
};

/** The bytes inside TLS records: a handshake and application data. */
function sealed(trouble, bytes) {
  const s = new Stream(trouble);
  s.u8(22).u16(0x0301).u16(200).raw(Buffer.alloc(200, 1));
  s.u8(20).u16(0x0303).u16(1).u8(1);
  for (let at = 0; at < bytes.length; at += 16_000) {
    const part = bytes.subarray(at, at + 16_000);
    s.u8(23)
      .u16(0x0303)
      .u16(part.length + 24)
      .raw(Buffer.alloc(part.length + 24, 0xa5));
  }
  return s.build();
}

/**
 * One migration.
 *
 * @returns {{mode: string, channels: {forward: Buffer, backward: Buffer}[]}}  a connection each, the main channel first
 */
export function migration(trouble) {
  const mode = trouble.pick(Object.keys(MODES));
  const pages = 16 << trouble.below(4);
  const blocks = [
    { name: 'pc.ram', pages },
    { name: '0000:00:02.0/vga.vram', pages: 8 },
    ...Array.from({ length: trouble.below(4) }, (_, i) => ({ name: `/rom@etc/acpi/tables${i}`, pages: 2 })),
  ];
  const postcopy = mode === 'postcopy' || mode === 'preempt';
  const s = new Stream(trouble);
  configuration(s, 'pc-i440fx-7.2');
  if (postcopy || trouble.chance(0.5)) command(s, 1, Buffer.alloc(0)); // OPEN_RETURN_PATH
  ramStart(s, blocks, postcopy);
  const lanes = [];
  if (mode.startsWith('multifd')) {
    const lane = Array.from({ length: 1 + trouble.below(4) }, () => new Stream(trouble));
    for (const [id, each] of lane.entries()) multifdHello(each, id);
    let number = 0;
    for (let r = 0; r < 3; r++) {
      for (let first = 0; first < pages; first += 16, number++) {
        const packed = mode === 'multifd-zlib' ? 500 + trouble.below(3000) : null;
        multifdPacket(lane[number % lane.length], number, blocks[0], first, 16, trouble.below(8), packed);
      }
      for (const each of lane) multifdSync(each, number++);
      s.u8(2).u32(RAM_ID);
      if (trouble.chance(0.5)) s.u64(FLUSH);
      closeRam(s);
    }
    lanes.push(...lane);
  } else {
    for (let r = 0; r < 3; r++) round(s, blocks, r === 0 ? 1 : 0.3, MODES[mode]);
  }
  if (postcopy) {
    switchToPostcopy(s);
    if (mode === 'preempt') {
      const urgent = new Stream(trouble);
      for (let i = 0; i < 6; i++)
        urgent
          .u64(i * 5 * PAGE + FLAG.page)
          .text('pc.ram')
          .raw(Buffer.alloc(PAGE, i));
      urgent.u64(FLAG.eos);
      lanes.push(urgent);
    }
    round(s, blocks, 0.2, MODES[mode]);
  }
  s.u8(3).u32(RAM_ID);
  closeRam(s);
  if (!postcopy) devices(s, 3);
  s.u8(0);
  description(s);
  const backward = trouble.chance(0.7) ? returnPath(trouble, postcopy) : Buffer.alloc(0);
  const channels = [{ forward: s.build(), backward }].concat(
    lanes.map((lane) => ({ forward: lane.build(), backward: Buffer.alloc(0) })),
  );
  if (mode !== 'tls') return { mode, channels };
  return {
    mode,
    channels: channels.map(({ forward, backward }) => ({
      forward: sealed(trouble, forward),
      backward: sealed(trouble, backward),
    })),
  };
}
