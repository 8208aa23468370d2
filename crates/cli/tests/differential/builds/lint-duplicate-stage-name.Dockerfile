FROM scratch AS one
COPY config.yaml /
FROM scratch AS one
COPY package.json /
