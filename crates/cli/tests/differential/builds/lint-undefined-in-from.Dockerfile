ARG KNOWN=scratch
FROM ${KNOWN} AS one
COPY config.yaml /
FROM scratch AS two
COPY package.json /
FROM ${UNKNOWN:-one}
COPY package.json /
