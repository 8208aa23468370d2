FROM scratch as one
COPY config.yaml /
from one AS two
COPY package.json /
