FROM scratch AS context
COPY config.yaml /
FROM scratch AS scratch
COPY package.json /
