// pcap-parser 0.2.1 has no types. Only what the tests use.
declare module 'pcap-parser' {
  import type { EventEmitter } from 'node:events';

  interface PacketHeader {
    readonly timestampSeconds: number;
    readonly timestampMicroseconds: number;
    readonly capturedLength: number;
    readonly originalLength: number;
  }

  interface Parser extends EventEmitter {
    on(event: 'packet', listener: (packet: { readonly header: PacketHeader; readonly data: Buffer }) => void): this;
    on(event: 'end', listener: () => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
  }

  const pcapParser: { parse(path: string): Parser };
  export default pcapParser;
}
