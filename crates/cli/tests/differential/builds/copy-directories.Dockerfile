FROM scratch
COPY src /src
COPY src/ /src2/
COPY src/. /src3
COPY src notes /merged/
COPY void /void
COPY deep /deep
