/** A camera that speaks as much ONVIF as it takes to be asked for its streams; WS-Security's password digest is checked. */
import { createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';

const PROFILES = [
  ['main', 1920, 1080, 25],
  ['sub', 640, 360, 10],
] as const;

const pages = (host: string): Record<string, (body: string) => string> => ({
  GetSystemDateAndTime: () => {
    const now = new Date();
    return `<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType><tt:UTCDateTime><tt:Time><tt:Hour>${now.getUTCHours()}</tt:Hour><tt:Minute>${now.getUTCMinutes()}</tt:Minute><tt:Second>${now.getUTCSeconds()}</tt:Second></tt:Time><tt:Date><tt:Year>${now.getUTCFullYear()}</tt:Year><tt:Month>${now.getUTCMonth() + 1}</tt:Month><tt:Day>${now.getUTCDate()}</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`;
  },
  GetServices: () =>
    `<tds:GetServicesResponse>${['device', 'media'].map((name) => `<tds:Service><tds:Namespace>http://www.onvif.org/ver10/${name}/wsdl</tds:Namespace><tds:XAddr>http://${host}/onvif/${name}_service</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor></tds:Version></tds:Service>`).join('')}</tds:GetServicesResponse>`,
  GetDeviceInformation: () =>
    '<tds:GetDeviceInformationResponse><tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>Eye</tds:Model></tds:GetDeviceInformationResponse>',
  GetVideoSources: () =>
    '<trt:GetVideoSourcesResponse><trt:VideoSources token="v"><tt:Framerate>25</tt:Framerate><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>',
  GetProfiles: () =>
    `<trt:GetProfilesResponse>${PROFILES.map(([name, width, height, fps]) => `<trt:Profiles token="${name}"><tt:Name>${name}</tt:Name><tt:VideoSourceConfiguration token="c"><tt:Name>v</tt:Name><tt:SourceToken>v</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token="${name}"><tt:Name>e</tt:Name><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>${width}</tt:Width><tt:Height>${height}</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>${fps}</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>`).join('')}</trt:GetProfilesResponse>`,
  GetStreamUri: (body) =>
    `<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://192.168.1.9/${/ProfileToken>(\w+)</.exec(body)?.[1]}?channel=1&amp;token=t0psecret</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>`,
});

/** @returns where it listens, `127.0.0.1:PORT` */
export async function onvifCamera(t: TestContext, username: string, password: string): Promise<string> {
  let host = '';
  const server = createServer((request, response) => {
    void text(request).then((body) => answer(body, response));
  });
  const answer = (body: string, response: ServerResponse): void => {
    const operation = /<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)/.exec(body)?.[1] ?? '';
    const field = (name: string): string =>
      new RegExp(`<(?:\\w+:)?${name}(?:\\s[^>]*)?>([^<]*)<`).exec(body)?.[1] ?? '';
    const digest = createHash('sha1')
      .update(Buffer.from(field('Nonce'), 'base64'))
      .update(field('Created') + password)
      .digest('base64');
    const isKnown = field('Username') === username && field('Password') === digest;
    const isAllowed = operation === 'GetSystemDateAndTime' || isKnown;
    const page = pages(host)[operation];
    const fault = `<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">${isAllowed ? 'Action not supported' : 'Sender not Authorized'}</s:Text></s:Reason></s:Fault>`;
    const content = isAllowed && page ? page(body) : fault;
    response.writeHead(content === fault ? 400 : 200, { 'content-type': 'application/soap+xml' });
    response.end(
      `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body>${content}</s:Body></s:Envelope>`,
    );
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return host;
}
