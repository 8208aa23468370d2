FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
ARG UID=10001
RUN adduser \
    --disabled-password \
    --gecos "" \
    --home "/nonexistent" \
    --shell "/sbin/nologin" \
    --no-create-home \
    --uid "${UID}" \
    appuser
COPY app/main.py .
RUN --mount=type=secret,id=token --mount=type=tmpfs,target=/scratch \
    test -s /run/secrets/token && echo installed > /app/installed
USER appuser
EXPOSE 8000
CMD python3 -m http.server --bind=0.0.0.0
