FROM scratch
ADD archives/false.tar.gz /a/
ADD archives/text.gz /b/
ADD archives/deep /c/
ADD config.yaml src /d/
COPY archives/tree.tar /e/
