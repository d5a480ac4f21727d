# One image for hub and agent; glibc, because ONNX Runtime has no musl build.
FROM node:22-bookworm-slim
WORKDIR /opt/outrider
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force
COPY bin bin
COPY agent agent
COPY cloud cloud
COPY shared shared
COPY models models
COPY LICENSE NOTICE README.md ./
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1
ENTRYPOINT ["node", "/opt/outrider/bin/outrider.mjs"]
CMD ["--help"]
