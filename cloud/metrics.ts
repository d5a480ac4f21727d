/** Every counter and histogram of the hub, in one table. */
import { createMetrics, type Metrics } from '../shared/runtime/metrics.ts';

/** One registry for the program. */
export const createHubMetrics = (): Metrics =>
  createMetrics({
    outrider_requests_total: {
      kind: 'counter',
      help: 'Requests of devices, by what became of them: answered, failed, refused, repeated, malformed',
      labels: ['model', 'outcome'],
    },
    outrider_request_seconds: {
      kind: 'histogram',
      help: 'From a request’s arrival to its reply',
      labels: ['model'],
    },
    outrider_inference_seconds: {
      kind: 'histogram',
      help: 'Inference of one request, its share of a batch',
      labels: ['model'],
    },
    outrider_link_bytes_total: {
      kind: 'counter',
      help: 'Payload bytes over the link, by direction and purpose',
      labels: ['direction', 'purpose'],
    },
    outrider_http_requests_total: {
      kind: 'counter',
      help: 'HTTP requests, by route and status',
      labels: ['route', 'status'],
    },
  });
