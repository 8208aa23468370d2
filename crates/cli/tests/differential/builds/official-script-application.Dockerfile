FROM scratch AS busybox
COPY rootfs /
FROM busybox AS base
ENV NODE_ENV=production
WORKDIR /usr/src/app
FROM base AS dependencies
COPY package*.json ./
RUN --mount=type=cache,target=/root/.npm mkdir -p node_modules/a && cp package.json node_modules/a/
FROM base
COPY --chown=1000:1000 --from=dependencies /usr/src/app/node_modules ./node_modules
COPY --chown=1000:1000 --exclude=rootfs --exclude=archives --exclude=modes . .
USER builder
EXPOSE 3000
CMD ["node", "index.js"]
