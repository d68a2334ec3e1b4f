"""Models that act: tools that a reply may call, and the bounded loop that runs them and lets the model answer.

`interfaces` says what a tool and a talker are, `specs` what a tool takes, `toolbox` runs one; `loop` is the agent,
which writes by a form: `llava_plus` or `react`. `marked` asks about a picture with numbered regions. Every step of all
of them is a `Step` (`steps`). `tools` are those that come with the house, `setup` makes an agent of a YAML.
"""
