# One image for servers and clients.
#   docker build -t catena .
#   docker run catena zookeeper:2181 0.0.0.0:5000 --advertise NAME:5000 --data /data
# NODE_IMAGE builds: Node.js >= 20.19, npm, python3, make and g++ (for the zookeeper package).
# RUNTIME_IMAGE runs: Node.js and libstdc++ of the same Debian.
ARG NODE_IMAGE=node:20-bookworm
ARG RUNTIME_IMAGE=node:20-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /catena
# Alone, so that a change of the sources does not compile the native addon again.
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY tsconfig.json ./
COPY src src
RUN npx tsc -p . && chmod +x dist/src/cli/kv-server.js dist/src/cli/kv-client.js \
 && npm prune --omit=dev --no-audit --no-fund --loglevel=error

FROM ${RUNTIME_IMAGE}
WORKDIR /catena
# By number: the user `node` of the official images, and as good in an image without that name.
RUN mkdir /data && chown 1000:1000 /data \
 && ln -s /catena/dist/src/cli/kv-server.js /usr/local/bin/kv-server \
 && ln -s /catena/dist/src/cli/kv-client.js /usr/local/bin/kv-client
COPY --from=build /catena/node_modules node_modules
COPY package.json LICENSE ./
COPY proto proto
COPY --from=build /catena/dist/src dist/src
USER 1000:1000
VOLUME /data
EXPOSE 5000
# No shell between: SIGTERM reaches the server, and it leaves the chain in good order.
ENTRYPOINT ["kv-server"]
CMD ["--help"]
