"""Small sound documents of every layout that is read."""

import json

__all__ = [
    "ACTIVITYNET", "BLOCKED", "BORIS_PROJECT", "CONFIG", "CUHK", "ELAN", "METRICS", "NUMBERED", "PACKAGE",
    "PREDICTIONS", "SUBMISSION", "SUBSETS", "TABLES", "THUMOS", "VIA_PROJECT",
]  # fmt: skip

ACTIVITYNET = {
    "database": {
        "one": {
            "subset": "training",
            "duration": 12.5,
            "frame": 300,
            "annotations": [{"segment": [1.0, 2.5], "label": "run"}, {"segment": [4, 6], "label": "jump"}],
        },
        "two": {"subset": "validation", "duration": 9.0, "annotations": [{"segment": [0.5, 3], "label": "run"}]},
    }
}
PACKAGE = {
    "v_one": {"duration_second": 12.5, "duration_frame": 300, "annotations": [{"segment": [1.0, 2.0], "label": "run"}]},
    "v_two": {"duration_second": 9.0, "duration_frame": 200, "annotations": []},
}
SUBSETS = "video,subset\nv_one,training\nv_two,validation\n"
THUMOS = "video_test_0000004  0.2 1.1\nvideo_test_0000004 4.5 8.0\nvideo_validation_0000006  1.0 2.0\n"
PREDICTIONS = {
    "version": "ActivityNet-1.3",
    "results": {
        "one": [{"segment": [1.0, 2.4], "label": "run", "score": 0.9}],
        "two": [{"segment": [0, 3], "label": "run", "score": 1}, {"segment": [5, 6], "label": "jump", "score": 0.1}],
    },
}
BLOCKED = ["one", "three"]
CUHK = {"results": {"one": [0.5, 0.25, 0.25], "two": [0.1, 0.2, 0.7]}, "class": ["run", "jump", "sit"]}
SUBMISSION = {"results": {"one": [{"label": "run", "score": 0.5}, {"label": "jump", "score": 0.25}], "two": []}}
NUMBERED = {"one": {"subset": "training", "duration": 12.5, "actions": [[1, 1.0, 2.0], [0, 3.5, 4.0]]}}
BORIS_PROJECT = {
    "project_format_version": "7.0",
    "behaviors_conf": {
        "0": {"code": "run", "type": "State event", "category": "gait"},
        "1": {"code": "jump", "type": "Point event"},
    },
    "observations": {
        "first": {
            "type": "MEDIA",
            "file": {"1": ["one.mp4", "two.mp4"], "2": []},
            "media_info": {"length": {"one.mp4": 12.5, "two.mp4": 9.0}},
            "time offset": 0.0,
            "events": [
                [1.0, "m", "run", "", ""],
                [2.5, "m", "run", "fast", ""],
                [3.0, "m", "run", "", ""],
                [5, "", "jump"],
            ],
        }
    },
}
VIA_PROJECT = {
    "project": {"pname": "x"},
    "config": {},
    "attribute": {
        "1": {"aname": "action", "anchor_id": "FILE1_Z2_XY0", "type": 4, "options": {"a": "run", "b": "jump"}},
        "2": {"aname": "with", "anchor_id": "FILE1_Z2_XY0", "type": 2, "options": {"x": "ball", "y": "rope"}},
    },
    "file": {"1": {"fid": "1", "fname": "one.mp4", "src": "/data/one.mp4"}},
    "view": {"1": {"fid_list": ["1"]}},
    "metadata": {
        "1_a": {"vid": "1", "flg": 0, "z": [1.0, 2.5], "xy": [], "av": {"1": "a", "2": "x,y"}},
        "1_b": {"vid": "1", "flg": 0, "z": [4.0], "xy": [], "av": {"1": "b"}},
    },
}
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-01T10:00:00+01:00" FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/one.mp4" MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./one.mp4"
TIME_ORIGIN="500"/>
</HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2500"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="behaviour" PARTICIPANT="m">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>run</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>jump</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="s" TIER_ID="detail" PARENT_REF="behaviour">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"><ANNOTATION_VALUE>fast</ANNOTATION_VALUE>
</REF_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>
"""
_VIA_ATTRIBUTE = json.dumps(VIA_PROJECT["attribute"])
TABLES = {
    "csv": "video,start,end,label,subset\none.mp4,1.0,2.5,run,training\ntwo.mp4,0:01.5,00:00:03,jump,validation\n",
    "tsv": "Filename\tStart (s)\tDuration (s)\tBehaviour\none\t1,0\t2,5\trun\ntwo\t3\t4\tjump\n",
    "epic": "narration_id,video_id,start_timestamp,stop_timestamp,narration,verb,noun\n"
    "a,one,00:00:01.00,00:00:02.50,open door,open,door\nb,two,00:00:01.00,00:00:02.50,close door,close,door\n",
    "charades": 'id,subject,actions,length\none,P1,"c092 11.90 21.20;c147 0.00 12.60",30.5\ntwo,P2,,12\n',
    "boris": "Observation id,Source,Time offset (s),Media duration (s),Subject,Behavior,Behavior type,Time,"
    "Media file name\n"
    "first,player #1:one.mp4;two.mp4|,0,12.5;9.0,m,run,START,1.0,one.mp4\n"
    "first,player #1:one.mp4;two.mp4|,0,12.5;9.0,m,run,STOP,2.5,one.mp4\n"
    "first,player #1:one.mp4;two.mp4|,0,12.5;9.0,m,jump,POINT,14,two.mp4\n",
    "boris-aggregated": "Observation id,Subject,Behavior,Behavior type,Start (s),Stop (s),Media file name\n"
    "first,m,run,STATE,1.0,2.5,one.mp4\nfirst,m,jump,POINT,3.0,3.0,one.mp4\n",
    "via": "# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,"
    f"spatial_coordinates,metadata\n# ATTRIBUTE = {_VIA_ATTRIBUTE}\n"
    '"1_a","[""one.mp4""]",0,"[1,2.5]","[]","{""1"":""a"",""2"":""x,y""}"\n',
}
METRICS = (
    {"kind": "step", "epoch": 0, "step": 0, "loss": 1.5, "learning_rate": {"backbone": 0.1, "head": 0.2}},
    {"kind": "step", "epoch": 0, "step": 1, "loss": 1.0, "gradient_norm": 3.5, "reconstruction_error": 0.0},
    {"kind": "evaluation", "epoch": 0, "average_mAP": 0.5, "mAP@0.5": 0.5},
)
CONFIG = """
from pathlib import Path
from re2tal.config.presets import demo
config = demo(data=Path("data"), work_dir=Path("exps")).model_copy(update={"name": "tiny"})
"""
