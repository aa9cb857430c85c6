// What the UDP side hands on when the capture has ended. What cannot be known is null.
import type { ColumnData } from '../../columns.js';
import type { OpaqueTransfer } from './opaque-transfer.js';

export interface UdpEndpoint {
  readonly address: string;
  readonly port: number;
}

/** Totals one way. */
export interface UdpDirection {
  frames: number;
  wireBytes: number;
  payloadBytes: number;
  /** From a sequence the transport carries in clear; null where it has none. */
  lostPackets: number | null;
  reorderedPackets: number | null;
  retransmittedPackets: number | null;
}

export interface UdpFlow {
  id: number;
  /** 'udp', 'vxlan', 'geneve', 'udt', 'srt', 'quic', 'roce', 'wireguard', 'esp', 'dtls', 'openvpn' … */
  transport: string;
  encapsulation: readonly string[];
  client: UdpEndpoint;
  server: UdpEndpoint;
  firstFrame: number;
  startNs: number;
  endNs: number;
  directions: [UdpDirection, UdpDirection];
  /** Direction ids of the byte streams it carries, of the client's side; the server's are one higher. */
  streams: readonly number[];
  /** Facts only this transport has (RTT, rates, versions, what is not observable), by name. */
  facts: Record<string, number | string | boolean | null>;
  /** Bulk transfers inside an encrypted tunnel; absent where there are none or the transport can be read. */
  transfers?: readonly OpaqueTransfer[];
}

/** What one way of encapsulation carried and cost. IP bytes count from the innermost or outermost IP header on. */
export interface TunnelTotal {
  readonly encapsulation: readonly string[];
  readonly frames: number;
  readonly innerIpBytes: number;
  readonly outerIpBytes: number;
  /** The largest single packet, inside and outside; offload makes them larger than the path's MTU. */
  readonly innerMaxBytes: number;
  readonly outerMaxBytes: number;
  /** Frames whose outer packet is the first of several fragments: the tunnel does not fit the path. */
  readonly fragmentedFrames: number;
}

export interface UdpResults {
  readonly flows: readonly UdpFlow[];
  readonly tunnels: readonly TunnelTotal[];
  readonly timeline: ColumnData;
}
