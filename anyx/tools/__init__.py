"""Tools that look at a picture beside the model: detectors, segmenters, and what is built of them.

`correction` takes back what a reply says and a detector does not find (Woodpecker); `marks` numbers the regions of a
picture so that a model can speak of them (set-of-mark prompting). A tool is anything with the call of its protocol in
`interfaces`; `loading` makes one from a folder of weights or from `module:Class`.
"""
