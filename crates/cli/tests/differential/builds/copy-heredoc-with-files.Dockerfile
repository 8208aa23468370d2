FROM scratch
COPY config.yaml <<generated package.json /all/
made
generated
ADD <<other /added
other text
other
