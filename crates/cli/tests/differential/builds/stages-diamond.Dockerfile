FROM scratch AS base
COPY config.yaml /base
FROM base AS left
COPY package.json /left
FROM base AS right
COPY src /right
FROM scratch
COPY --from=left / /
COPY --from=right / /
