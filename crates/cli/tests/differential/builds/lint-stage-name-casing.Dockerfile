FROM scratch AS CamelCase
COPY config.yaml /
FROM camelcase AS lower
COPY package.json /
