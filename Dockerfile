# One image for hub and agent; glibc, because ONNX Runtime has no musl build. docs/install.md, "Containers".
# Everything is made on the machine that builds, for the platform that is asked for: an arm64 image needs no emulation on amd64.
ARG BASE=node:24-bookworm-slim

FROM --platform=$BUILDPLATFORM $BASE AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
# From here on a platform's own: the packages that are not in the built files, with the native code of the image's platform.
ARG TARGETARCH
RUN mkdir /packages && cp package.json package-lock.json .npmrc /packages/ && cd /packages \
 && npm ci --omit=dev --no-audit --no-fund --os=linux --cpu="$(echo "$TARGETARCH" | sed s/amd64/x64/)" --libc=glibc
COPY . .
# MODELS=cifar10-cnn,cifar10-vit: these alone, instead of all that ship.
ARG MODELS=
RUN node tools/installation.mjs --to /image/opt/outrider --models "$MODELS" --packages /packages/node_modules \
      --platform "linux-$(echo "$TARGETARCH" | sed s/amd64/x64/)" \
 && cp deploy/container/ready.mjs /image/opt/outrider/bin/ \
 && mkdir -p /image/usr/local/bin /image/data \
 && ln -s /opt/outrider/bin/outrider.mjs /image/usr/local/bin/outrider \
 && ln -s /data /image/opt/outrider/data

FROM $BASE
COPY --from=build /image/opt /opt
COPY --from=build /image/usr/local /usr/local
# A volume that is mounted here for the first time becomes its owner's.
COPY --from=build --chown=1000:1000 /image/data /data
# The user `node`, by number: an orchestrator then sees that it is not root.
USER 1000:1000
# Here `--models models` and `--data data` are what they are in a checkout.
WORKDIR /opt/outrider
VOLUME /data
# As shared/runtime/installation.ts gives it to the programs that ours start.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2
EXPOSE 8080 1883 8090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["node", "/opt/outrider/bin/ready.mjs"]
ENTRYPOINT ["node", "--max-semi-space-size=2", "/opt/outrider/bin/outrider.mjs"]
CMD ["--help"]
