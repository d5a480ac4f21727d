#!/usr/bin/python3
"""A real RTSP camera on loopback (GStreamer): rtsp-camera.py PORT [WIDTHxHEIGHT]. /locked, for admin with s3cr3t."""
import sys
import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

Gst.init(None)
port = sys.argv[1]
width, height = (sys.argv[2] if len(sys.argv) > 2 else "320x180").split("x")
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=%s,height=%s,framerate=10/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=300"
    " ! rtph264pay name=pay0 pt=96 config-interval=1 )" % (width, height)
)

auth = GstRtspServer.RTSPAuth.new()
user = GstRtspServer.RTSPToken()
user.set_string("media.factory.role", "user")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", "s3cr3t"), user)
server.set_auth(auth)


factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(LAUNCH)
factory.set_shared(True)
permissions = GstRtspServer.RTSPPermissions.new()
for what in ("access", "construct"):
    permissions.add_permission_for_role("user", "media.factory." + what, True)
factory.set_permissions(permissions)
server.get_mount_points().add_factory("/locked", factory)
server.attach(None)
print("listening on", port, flush=True)
GLib.MainLoop().run()
