FROM scratch
COPY --from=Not/A:Name:x /a /
