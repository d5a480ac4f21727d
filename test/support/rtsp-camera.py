#!/usr/bin/python3
"""A real RTSP camera on loopback (GStreamer): /locked shows a ball, /file a film of H.264 as it is; both for admin with s3cr3t."""
import argparse
import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer

wanted = argparse.ArgumentParser()
wanted.add_argument("port")
wanted.add_argument("size", nargs="?", default="320x180")
wanted.add_argument("--codec", choices=["h264", "h265"], default="h264")
wanted.add_argument("--digest", action="store_true", help="asks for Digest authentication instead of Basic")
wanted.add_argument("--tls", metavar="PEM", help="rtsps, by this certificate and key")
wanted.add_argument("--file", metavar="MP4", help="for /file")
given = wanted.parse_args()

Gst.init(None)
width, height = given.size.split("x")
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(given.port)

auth = GstRtspServer.RTSPAuth.new()
user = GstRtspServer.RTSPToken()
user.set_string("media.factory.role", "user")
if given.digest:
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest("admin", "s3cr3t", user)
else:
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", "s3cr3t"), user)
if given.tls:
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(given.tls))
server.set_auth(auth)


def mount(path: str, launch: str, shared: bool) -> None:
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(launch)
    factory.set_shared(shared)
    permissions = GstRtspServer.RTSPPermissions.new()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("user", "media.factory." + what, True)
    factory.set_permissions(permissions)
    server.get_mount_points().add_factory(path, factory)


ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=300 ! rtph264pay",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=300 ! rtph265pay",
}
mount(
    "/locked",
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=%s,height=%s,framerate=10/1"
    " ! %s name=pay0 pt=96 config-interval=1 )" % (width, height, ENCODERS[given.codec]),
    True,
)
if given.file:
    mount(
        "/file",
        "( filesrc location=%s ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )" % given.file,
        False,
    )
server.attach(None)
print("listening on", given.port, flush=True)
GLib.MainLoop().run()
