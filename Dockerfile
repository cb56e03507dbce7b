# The image of the daemon: Node, its libraries, the build. No shell, no package manager.
#   docker build -t credence .
# BUILD is any Debian-like base with Node 24, npm and ldd; RUN is what the result is laid upon. Both
# are arguments, so that it can be built where no registry is: docs/install-kubernetes.md.
ARG BUILD=docker.io/library/node:24-bookworm-slim
ARG RUN=scratch

FROM ${BUILD} AS build
WORKDIR /src
COPY package.json package-lock.json ./
# No package's install script is needed: prebuilt parts come with the packages.
RUN npm ci --include=dev --ignore-scripts --no-audit --no-fund
COPY . .
# With a C++ compiler in BUILD the image can use PKCS#11 modules: docs/key-managers.md.
RUN node scripts/build-pkcs11.mjs --if-possible && node scripts/build.mjs && node scripts/image-tree.mjs /tree

FROM ${RUN}
COPY --from=build /tree /
ENV PATH=/usr/bin NODE_ENV=production
# Root: the socket's folder is the host's, and so are the processes that it looks at. The entrypoint
# gives up all capabilities before the daemon starts.
USER 0:0
ENTRYPOINT ["/usr/bin/node", "/opt/credence/dist/in-pod.js"]
CMD ["run", "--config", "/etc/credence/credence.yaml"]
