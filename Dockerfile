# One image for servers and clients. NODE_IMAGE: any image with Node.js >= 20.19, npm, python3, make and g++.
ARG NODE_IMAGE=node:20-bookworm

FROM ${NODE_IMAGE} AS build
WORKDIR /catena
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY tsconfig.json ./
COPY proto proto
COPY src src
RUN npx tsc -p . && npm prune --omit=dev --no-audit --no-fund --loglevel=error

FROM ${NODE_IMAGE}
WORKDIR /catena
COPY --from=build /catena/node_modules node_modules
COPY --from=build /catena/dist/src dist/src
COPY proto proto
COPY package.json LICENSE README.md ./
RUN chmod +x dist/src/cli/kv-server.js dist/src/cli/kv-client.js \
 && ln -s /catena/dist/src/cli/kv-server.js /usr/local/bin/kv-server \
 && ln -s /catena/dist/src/cli/kv-client.js /usr/local/bin/kv-client
VOLUME /data
EXPOSE 5000
ENTRYPOINT ["kv-server"]
CMD ["--help"]
