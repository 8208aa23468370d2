FROM scratch
COPY package.json /
COPY src /src/
COPY config.yaml /etc/
