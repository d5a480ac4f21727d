/** A camera as a pipeline's feed: `feed` of `outrider.yaml` with `type: camera`. */
import { z } from 'zod';
import { addressProblem } from '../../shared/camera/address.ts';
import { isDailyWindow } from '../../shared/runtime/daily-window.ts';
import { duration } from './quantities.ts';

const MAX_FPS = 60;
/** A decoder's output; models use less. */
const MAX_SIDE_PX = 4_096;
const MAX_MASKS = 32;
const MAX_CORNERS = 64;

const share = z.number().min(0).max(1);
const point = z.tuple([share, share]);

const address = z
  .string()
  .max(2_048)
  .superRefine((text, context) => {
    const problem = addressProblem(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

/** `1280x720` as pixels. */
const size = z
  .string()
  .regex(/^\d{2,4}x\d{2,4}$/, 'a size such as 1280x720')
  .transform((text) => {
    const [widthPx = 0, heightPx = 0] = text.split('x').map(Number);
    return { widthPx, heightPx };
  })
  .refine(
    ({ widthPx, heightPx }) => Math.max(widthPx, heightPx) <= MAX_SIDE_PX && Math.min(widthPx, heightPx) > 0,
    `at most ${MAX_SIDE_PX} pixels a side`,
  );

const mask = z.strictObject({
  /** Its corners, as shares of the picture’s width and height from the upper left. @example [[0, 0], [0.3, 0], [0.3, 0.2], [0, 0.2]] */
  polygon: z.array(point).min(3, 'at least three corners').max(MAX_CORNERS),
  /** What is seen in its place. @example blur */
  fill: z.enum(['black', 'blur']).default('black'),
});

/** A camera’s stream, pictures, device or file. */
const fields = z.strictObject({
  type: z.literal('camera'),
  /**
   * Its address: `rtsp`, `rtsps`, `http` and `https` (MJPEG, single pictures or video), `onvif`, `rtmp`, `srt`; a device such as
   * `/dev/video0`; or a video file, beside the configuration unless absolute. Credentials stand in it, best as `${NAME}`.
   *
   * @example "rtsp://${CAM_USER}:${CAM_PASSWORD}@10.0.0.7/stream"
   */
  url: address,
  /** A smaller stream of the same camera, which costs far less to decode. @example "rtsp://${CAM_USER}:${CAM_PASSWORD}@10.0.0.7/sub" */
  sub: address.optional(),
  /** Which of the two is read, or which of an ONVIF camera’s; `sub` where there is one, when left out. @example main */
  stream: z.enum(['main', 'sub']).optional(),
  /** Pictures a second that the pipeline is given; the newest wins where it is slower. @example 2 */
  fps: z.number().positive().max(MAX_FPS).default(1),
  /**
   * The decoder’s output fits into it, and keeps its shape; when left out it is what the models use, and 1280x1280 where sinks or captures
   * keep pictures, or that is not known. @example 1280x720
   */
  size: size.optional(),
  /** How RTSP sends its pictures. @example udp */
  transport: z.enum(['tcp', 'udp']).default('tcp'),
  /**
   * PEM file of who vouches for an `https` camera, or of its own certificate, whatever names are in that; beside the configuration unless
   * absolute; the system’s authorities when left out. @example camera.pem
   */
  ca: z.string().min(1).optional(),
  /** Whatever certificate an `https` camera shows is taken: encrypted, and to whom is not known. @example true */
  insecure: z.boolean().default(false),
  /** ffmpeg’s hardware decoding: `none`, `auto`, `vaapi`, `v4l2m2m`, `cuda`, … @example v4l2m2m */
  hwaccel: z
    .string()
    .regex(/^[a-z0-9]+$/, 'a name of ffmpeg -hwaccels, v4l2m2m, auto or none')
    .default('none'),
  /** Key frames alone are decoded, which cameras send every second or every few; for a low `fps`. @example true */
  keyframes: z.boolean().default(false),
  /** What is hidden before a picture is kept, shown or sent. @example [{ polygon: [[0, 0], [0.3, 0], [0.3, 0.2], [0, 0.2]], fill: black }] */
  masks: z.array(mask).max(MAX_MASKS).default([]),
  /** The part of the picture that is looked at: left, top, right, bottom, as shares. @example [0.1, 0.2, 0.9, 1.0] */
  region: z
    .tuple([share, share, share, share])
    .refine(([left, top, right, bottom]) => left < right && top < bottom, 'left, top, right, bottom')
    .optional(),
  /** Pictures on which nothing has moved are passed over. @example { threshold: 0.01, every: 30s } */
  motion: z
    .strictObject({
      /** Share of the picture that must have changed. @example 0.01 */
      threshold: z.number().positive().max(1).default(0.01),
      /** One in so long is asked about all the same, and its label says so; none when left out. @example 30s */
      every: duration.optional(),
    })
    .optional(),
  /** When it is looked at, in the time zone of `sync`; always when left out. @example "07:00-19:00" */
  active: z.string().refine(isDailyWindow, 'a time of day such as "07:00-19:00"').optional(),
  /** Without a picture for so long it counts as stalled and is connected anew; 10 s, or five pictures’ time, when left out. @example 30s */
  stallAfter: duration.optional(),
  /** A file begins again at its end. @example true */
  repeat: z.boolean().default(false),
});
/** A camera’s stream, checked against what its address can give. */
export const cameraFeed = fields.superRefine(({ url, sub, stream }, context) => {
  if (stream === 'sub' && sub === undefined && !/^onvif:/i.test(url))
    context.addIssue({
      code: 'custom',
      path: ['stream'],
      message: 'name the address of the smaller stream in sub, or ask an onvif:// address for it',
    });
});
export type CameraFeedConfig = z.infer<typeof cameraFeed>;
