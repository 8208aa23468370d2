FROM --platform=linux/amd64 scratch AS plain
COPY config.yaml /
FROM --platform=linux/amd64 scratch AS for-amd64
COPY config.yaml /
FROM plain
COPY package.json /
