/** A request of a device once it has been decoded, and the frame that says no to it. */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import type { ReplyError, ReplyHeader, RequestHeader } from '../../shared/contract/messages.ts';
import { withoutPathsIn } from '../../shared/runtime/disk-paths.ts';

/** A decoded request. */
export interface DeviceRequest {
  /** From the topic, never from the header. */
  readonly device: string;
  readonly header: RequestHeader;
  readonly body: Uint8Array;
  /** Of the first chunk, where there are several: its deadline and expiry count from here. */
  readonly arrivedMonoMs: number;
}

/** A reply that says no, without paths of this hub. */
export function failureFrame(id: string, error: ReplyError): Buffer {
  const header: ReplyHeader = withoutPathsIn({ id, ok: false, error });
  return encodeEnvelope(header);
}
