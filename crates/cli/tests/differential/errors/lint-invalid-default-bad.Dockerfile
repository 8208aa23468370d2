ARG VERSION
FROM example/image:${VERSION}
COPY package.json /
